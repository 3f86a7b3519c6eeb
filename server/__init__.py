"""How Triton is run: the embedded server out of the nvidia-pytriton wheel, its repository and its checks."""
