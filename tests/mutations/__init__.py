"""The promises of the protocol, broken one by one on purpose: the tests must notice each."""
