//! PKCS#10 certification requests (RFC 2986).
