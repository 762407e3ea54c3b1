"""The figures of a study, in the colours of Okabe and Ito. Markers differ in shape too, not only in colour."""
