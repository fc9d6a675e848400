// SPDX-License-Identifier: Apache-2.0
//! What a call says when it fails.

use crate::error::Error;

/// The errno of the last call.
#[must_use]
pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// `result`, or the errno if it is negative.
pub fn check(result: i32, what: impl FnOnce() -> String) -> Result<i32, Error> {
    if result < 0 {
        Err(Error::System {
            errno: errno(),
            what: what(),
        })
    } else {
        Ok(result)
    }
}
