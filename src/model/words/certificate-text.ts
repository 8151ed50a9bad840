/** What to do about a certificate that this machine does not trust. Pure. */

/** Node's codes of such a certificate. */
const CERTIFICATE_CODE = /^(?:CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(?:VERIFY|GET_ISSUER)|ERR_TLS_CERT)/;

export function isCertificateCode(code: string): boolean {
  return CERTIFICATE_CODE.test(code);
}

export const TRUST_FIX =
  "if your own certificate authority signed the certificate, set NODE_EXTRA_CA_CERTS to its file";
