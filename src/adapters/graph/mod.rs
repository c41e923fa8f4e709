//! The admin side of PFX import: Microsoft Graph's `userPfxCertificates`.
