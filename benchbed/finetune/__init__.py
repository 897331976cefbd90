"""One module per task family: head, loss and scoring over a Backbone."""
