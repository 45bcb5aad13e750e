"""What the scripts yang_huang.py and tlr_mnist.py are made of."""
