"""Model families: hyperparameters declared once, and the Keras model they build."""
