#!/usr/bin/env bash
# What the rows read, made with OpenSSL 3 alone, so that no peer reads its own dialect. The files are kept in the repository: a fixed RSA key
# and fixed files make instruction counts comparable from run to run. The key is worth nothing; it protects nothing.
set -euo pipefail
cd "$(dirname "$0")/fixtures"
password=bench-password-2048
days=36500

openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -outform DER -out root.key.der
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -outform DER -out issuer.key.der
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 | openssl pkcs8 -topk8 -nocrypt -outform DER -out key.der

openssl req -new -x509 -key root.key.der -subj "/C=DE/O=Contoso/CN=Contoso Root CA" -days $days -sha256 -outform DER -out root.der \
    -addext "keyUsage=critical,keyCertSign,cRLSign"
cat > issuer.cnf <<'C'
basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
C
openssl req -new -key issuer.key.der -subj "/C=DE/O=Contoso/CN=Contoso Issuing CA 1" -outform DER -out issuer.csr
openssl x509 -req -inform DER -in issuer.csr -CA root.der -CAkey root.key.der -days $days -sha256 -extfile issuer.cnf -outform DER -out issuer.der
cat > leaf.cnf <<'C'
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature,keyEncipherment
extendedKeyUsage=clientAuth,emailProtection
subjectAltName=@names
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
crlDistributionPoints=URI:http://pki.contoso.example/issuing1.crl
authorityInfoAccess=OCSP;URI:http://ocsp.contoso.example,caIssuers;URI:http://pki.contoso.example/issuing1.crt
[names]
DNS.1=device-4711.contoso.example
email.1=jane.doe@contoso.example
URI.1=tag:microsoft.com,2022-09-14:sid:S-1-5-21-1004336348-1177238915-682003330-1105
C
subject="/C=DE/O=Contoso/OU=Devices/CN=Jane Doe/emailAddress=jane.doe@contoso.example"
cat > request.cnf <<'C'
[req]
distinguished_name=name
attributes=attributes
req_extensions=extensions
prompt=no
utf8=yes
string_mask=utf8only
[name]
C=DE
O=Contoso
OU=Devices
CN=Jane Doe
emailAddress=jane.doe@contoso.example
[attributes]
challengePassword=open-sesame-4711
[extensions]
keyUsage=critical,digitalSignature,keyEncipherment
extendedKeyUsage=clientAuth,emailProtection
subjectAltName=DNS:device-4711.contoso.example,email:jane.doe@contoso.example
C
openssl req -new -config request.cnf -key key.der -sha256 -outform DER -out request.der
openssl req -new -key key.der -subj "$subject" -outform DER -out leaf.csr
openssl x509 -req -inform DER -in leaf.csr -CA issuer.der -CAkey issuer.key.der -days $days -sha256 -extfile leaf.cnf -outform DER -out leaf.der

for name in leaf issuer root; do openssl x509 -inform DER -in $name.der -out $name.pem; done
openssl pkey -inform DER -in key.der -out key.pem
cat issuer.pem > chain.pem
export_() { openssl pkcs12 -export -inkey key.pem -in leaf.pem -certfile chain.pem -name "Jane Doe" -passout "pass:$password" "$@"; }
export_ -out compat-2048.p12 -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1 -iter 2048
export_ -out modern-2048.p12 -keypbe AES-256-CBC -certpbe AES-256-CBC -macalg sha256 -iter 2048
export_ -out modern-100000.p12 -keypbe AES-256-CBC -certpbe AES-256-CBC -macalg sha256 -iter 100000

# 4 KiB of content that does not repeat.
for i in $(seq 64); do printf '%s' "$i" | openssl dgst -sha256 -r | head -c 64; done > content.bin
openssl cms -encrypt -binary -aes-256-cbc -in content.bin -outform DER -out enveloped.der leaf.pem
openssl cms -sign -binary -nodetach -md sha256 -nosmimecap -signer leaf.pem -inkey key.pem -certfile issuer.pem -in content.bin -outform DER -out signed.der
rm -f ./*.csr ./*.cnf ./*.pem root.key.der issuer.key.der root.der
ls -l
