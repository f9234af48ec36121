//! A guard that keeps an actix actor alive behind one address.
