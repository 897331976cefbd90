"""The miniature world: an index-addressable generator of small annotated pictures."""
