"""Any architecture or checkpoint as a Backbone: pyramid features, pixel convention, load audit."""
