"""Random cells: steps written at random from the operations that cells are made of, to compare backends on."""
