//! Device drivers, one file each, behind a closed enum of kinds.
