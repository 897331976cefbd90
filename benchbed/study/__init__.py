"""Studies: grids of pretrained backbones through the tasks, curve fits and their report."""
