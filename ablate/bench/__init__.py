"""`ablate bench`: how fast this machine trains a recipe, beside its own products and named peers."""
