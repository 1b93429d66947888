// Package spec turns a container's description into an OCI runtime configuration.
//
// Build is a pure function: the ContainerSpec that a person or a service asked for, the image's
// configuration, and what the engine has resolved on this host (user IDs, mount sources,
// namespace paths, devices) go in, a specs.Spec comes out. Exec does the same for one more
// process in a running container. It touches no file and no kernel; what cannot be expressed
// is refused with one line that says which field is wrong.
package spec
