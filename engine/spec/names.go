package spec

import (
	"fmt"

	"github.com/shoal-dev/shoal/internal/names"
)

// maxDomain is what the kernel has room for.
const maxDomain = 64

// checkNames refuses a domain that could not be one in /etc/hosts, or that would be the host's, and annotations without a key.
func checkNames(o Options) error {
	switch domain := o.Spec.GetDomainname(); {
	case domain == "":
	case o.Namespaces.UTS != "":
		return fmt.Errorf("domainname %q needs a UTS namespace of the container's own", domain)
	case len(domain) > maxDomain || !names.Object(domain) || !names.EndsClean(domain):
		return fmt.Errorf("domainname %q is not a domain: use letters, digits, '-' and '.', at most %d", domain, maxDomain)
	}
	for key := range o.Spec.GetAnnotations() {
		if key == "" {
			return fmt.Errorf("an annotation has no key: use KEY=VALUE")
		}
	}
	return nil
}
