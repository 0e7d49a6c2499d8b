// Command pki makes the certificates, keys and tokens of a test cluster without openssl.
// It takes a directory and, on stdin, one thing to make a line; what exists is left as it is, so a run can be repeated.
//
//	ca NAME COMMON-NAME                            NAME.crt, NAME.key
//	cert NAME CA COMMON-NAME ORGANIZATION|- SAN,…  NAME.crt, NAME.key; a SAN is a DNS name or an IP address
//	rsa NAME                                       NAME.key, NAME.pub
//	token NAME                                     NAME: 128 random bits in hex
package main

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A test cluster lives hours; a year lets one that a developer keeps live on.
const lifetime = 365 * 24 * time.Hour

// Certificates are valid from before now, so that a clock which steps back a little does not reject them.
const backdated = time.Hour

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: pki DIR <LINES"))
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) > 0 {
			if err := makeOne(os.Args[1], words); err != nil {
				fail(fmt.Errorf("%s: %w", lines.Text(), err))
			}
		}
	}
	fail(lines.Err())
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "pki:", err)
		os.Exit(1)
	}
}

func makeOne(dir string, words []string) error {
	arity := map[string]int{"ca": 3, "cert": 6, "rsa": 2, "token": 2}
	if n, known := arity[words[0]]; !known || len(words) != n {
		return fmt.Errorf("not a line this program understands")
	}
	base := filepath.Join(dir, words[1])
	switch words[0] {
	case "ca":
		return unlessThere(base+".crt", func() error { return certificate(base, "", words[2], "-", "") })
	case "cert":
		return unlessThere(base+".crt", func() error {
			return certificate(base, filepath.Join(dir, words[2]), words[3], words[4], words[5])
		})
	case "rsa":
		return unlessThere(base+".pub", func() error { return rsaPair(base) })
	default:
		return unlessThere(base, func() error {
			var bits [16]byte
			rand.Read(bits[:])
			return os.WriteFile(base, []byte(hex.EncodeToString(bits[:])), 0o600)
		})
	}
}

func unlessThere(path string, do func() error) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return do()
}

// certificate writes base.crt and base.key, signed by the authority at ca, or by itself as an authority when ca is "".
func certificate(base, ca, name, organization, sans string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-backdated),
		NotAfter:              time.Now().Add(lifetime),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
	}
	if organization != "-" {
		template.Subject.Organization = []string{organization}
	}
	parent, signer := template, crypto.Signer(key)
	if ca == "" {
		template.IsCA = true
		template.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	} else {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		for _, san := range strings.Split(strings.Trim(sans, "-"), ",") {
			if ip := net.ParseIP(san); ip != nil {
				template.IPAddresses = append(template.IPAddresses, ip)
			} else if san != "" {
				template.DNSNames = append(template.DNSNames, san)
			}
		}
		if parent, signer, err = authority(ca); err != nil {
			return err
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return err
	}
	if err := writePrivate(base+".key", key); err != nil {
		return err
	}
	return writePEM(base+".crt", "CERTIFICATE", der, 0o644)
}

func authority(base string) (*x509.Certificate, crypto.Signer, error) {
	var der [2][]byte
	for i, suffix := range []string{".crt", ".key"} {
		text, err := os.ReadFile(base + suffix)
		if err != nil {
			return nil, nil, err
		}
		block, _ := pem.Decode(text)
		if block == nil {
			return nil, nil, fmt.Errorf("%s%s holds no PEM block", base, suffix)
		}
		der[i] = block.Bytes
	}
	cert, err := x509.ParseCertificate(der[0])
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der[1])
	if err != nil {
		return nil, nil, err
	}
	return cert, key.(crypto.Signer), nil
}

func rsaPair(base string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := writePrivate(base+".key", key); err != nil {
		return err
	}
	return writePEM(base+".pub", "PUBLIC KEY", der, 0o644)
}

func writePrivate(path string, key any) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "PRIVATE KEY", der, 0o600)
}

func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
