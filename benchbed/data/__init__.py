"""Readers of the real layouts (ImageNet, VOC, COCO) and the miniature world."""
