"""Where H-Neurons come from (Figure 4b): drift of weights between a base model and a tuned one."""
