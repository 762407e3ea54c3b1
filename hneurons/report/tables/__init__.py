"""Results as long tables for CSV files: one row per cell of a table of the paper or point of a figure."""
