//! One suite of what AWS does, for the model and for the emulator.
