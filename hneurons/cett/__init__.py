"""CETT, the contribution of each neuron to its layer's output (eqs. 2 and 3), and the shards that store it."""
