// Web is the demo's workload: a web server that says who answers and who asked. As `web get URL [TIMES]` it is also a
// client, so that an image with this one file can be both ends.
package main

import (
	"cmp"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "get" {
		times := 1
		if len(os.Args) > 3 {
			fmt.Sscan(os.Args[3], &times)
		}
		for range times {
			get(os.Args[2])
		}
		return
	}
	addr := ":" + cmp.Or(os.Getenv("PORT"), "80")
	l, err := net.Listen("tcp", addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", addr) // and not before: tests wait for it
	log.Fatal(http.Serve(l, http.HandlerFunc(answer)))
}

func answer(w http.ResponseWriter, r *http.Request) {
	host, _ := os.Hostname()
	client, _, _ := net.SplitHostPort(r.RemoteAddr)
	fmt.Fprintf(w, "hostname=%s task=%s client=%s version=%s\n", host, os.Getenv("TASK"), client, os.Getenv("VERSION"))
}

// get asks on a new connection and ends the program at the first failure.
func get(url string) {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(os.Stdout, resp.Body)
}
