//! A handler for each operation of the views: reads the request, asks the subject, forms the answer.

pub(crate) mod deliveries;
pub(crate) mod fates;
pub(crate) mod flows;
pub(crate) mod interfaces;
pub(crate) mod letters;
pub(crate) mod live;
pub(crate) mod login;
pub(crate) mod parts;
pub(crate) mod records;
pub(crate) mod system;
