//! A drill: what it finds of a good copy, what it says of a bad one, and what a copy cannot do to it.

mod answers;
mod attacks;
mod bench;
mod broken;
mod cell;
mod clock;
mod copies;
mod extensions;
mod large;
