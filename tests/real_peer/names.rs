//! Who has a name, next to real nodes.
