"""CETT, how much each neuron contributes to its layer's output (eqs. 2 and 3), and the shards that hold it."""
