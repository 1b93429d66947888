// Package names says which names are well-formed. Rules that stand in one kind of object only, such as its longest name,
// are that object's.
package names

// Object says whether s can be the name of an object as Docker has them: letters, digits, '_', '.' and '-' of ASCII, the
// first a letter or digit. How long it may be is not looked at, but it is not empty.
func Object(s string) bool {
	for i := range len(s) {
		if !letterOrDigit(s[i]) && (i == 0 || s[i] != '_' && s[i] != '.' && s[i] != '-') {
			return false
		}
	}
	return s != ""
}

// EndsClean says whether the last character of s is a letter or digit, too, as in a label of DNS.
func EndsClean(s string) bool { return s != "" && letterOrDigit(s[len(s)-1]) }

// Hex says whether s consists of lo to hi lower-case hexadecimal digits.
func Hex(s string, lo, hi int) bool {
	for i := range len(s) {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return lo <= len(s) && len(s) <= hi
}

func letterOrDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
