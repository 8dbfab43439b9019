"""The nouns of the system: frozen values, standard library only, no I/O, no clock."""
