# Authorities and certificates for the cases with TLS; sourced, in the folder that is to hold them.

# authority NAME
authority() { openssl req -x509 -newkey rsa:2048 -nodes -keyout "$1-key.pem" -out "$1.pem" -subj "/CN=$1" -days 2 2>/dev/null; }

# issue AUTHORITY NAME [SUBJECT]: NAME-cert.pem, NAME-key.pem, and both in NAME.pem.
issue() {
  openssl req -newkey rsa:2048 -nodes -keyout "$2-key.pem" -out "$2.csr" -subj "${3:-/CN=$2}" 2>/dev/null
  printf 'basicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n' >"$2.ext"
  openssl x509 -req -in "$2.csr" -CA "$1.pem" -CAkey "$1-key.pem" -CAcreateserial -out "$2-cert.pem" -days 2 -extfile "$2.ext" 2>/dev/null
  cat "$2-key.pem" "$2-cert.pem" >"$2.next"
  mv "$2.next" "$2.pem"
}
