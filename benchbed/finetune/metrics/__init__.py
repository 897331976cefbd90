"""Metrics of the tasks, as pure functions of predictions and ground truth."""
