// Package server answers gRPC for one node's engine: the services Containers and Images.
//
// It translates messages and streams and maps errors to codes (errors.go), nothing else: what a
// request means is package engine's.
package server
