//! CMAF: reader, header and fragmenter.
