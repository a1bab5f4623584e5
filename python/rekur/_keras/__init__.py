"""What scripts written for Keras use and rekur does not have, with what to do instead.

Nothing here is imported before such a name or argument comes; docs/coming-from-keras.md is the same for readers, and
tests/test_coming_from_keras.py holds both against Keras itself.
"""
