"""One module a format; what they have in common stands in the package above."""
