// Spawn and join, one goroutine at a time.
package main

func spawn(n int) {
	for i := 0; i < n; i++ {
		ended := make(chan struct{})
		go func() { close(ended) }()
		<-ended
	}
}

func main() {
	done := make(chan float64)
	go func() { done <- measure(arg(1, 20000), spawn) }()
	report("spawn", <-done*1e9, "ns")
}
