"""The pretrainer: corpora, nested subsets, the multi-label loss, and recipes run to backbones."""
