"""What the makefile runs to make files from the code: READMEs, references, schemas. Nothing of it is shipped."""
