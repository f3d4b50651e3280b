"""Systems that use what the other parts provide, one file each."""
