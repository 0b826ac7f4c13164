"""The lab: small models, really trained, on which merging can be seen to work or fail."""
