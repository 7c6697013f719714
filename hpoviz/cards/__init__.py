"""Cards that explain hyperparameters, made of their declarations."""
