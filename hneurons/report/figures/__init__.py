"""The figures of a study. Colours of Okabe and Ito, told apart by shape too."""
