// A registry that is not ours, in memory: what the ociregistry module serves.
//
//	ociserver 127.0.0.1:5000 100    an address, and the names on a page of a list at most
package main

import (
	"log"
	"net/http"
	"os"
	"strconv"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

func main() {
	most, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	served := ociserver.New(ocimem.New(), &ociserver.Options{})
	log.Fatal(http.ListenAndServe(os.Args[1], paged(served, most)))
}

// paged answers with pages of so many names, whoever asks for more, as registries of clouds do.
func paged(served http.Handler, most int) http.Handler {
	return http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		query := request.URL.Query()
		if asked, err := strconv.Atoi(query.Get("n")); err == nil && asked > most {
			query.Set("n", strconv.Itoa(most))
			request.URL.RawQuery = query.Encode()
		}
		served.ServeHTTP(answer, request)
	})
}
