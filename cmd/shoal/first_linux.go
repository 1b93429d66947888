package main

import _ "github.com/shoal-dev/shoal/cmd/shoal/execfirst" // a plain exec on this machine is over before main
