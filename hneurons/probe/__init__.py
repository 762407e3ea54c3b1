"""The sparse probe (eq. 4): its path over C, the choice of C, and the random neurons fitted as its control."""
