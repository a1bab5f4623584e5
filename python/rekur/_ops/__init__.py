"""What :mod:`rekur.ops` is made of: operations of symbols, numbers and arrays, without those of symbolic tensors."""
