// The program of a pod's sandbox: it holds the pod's namespaces open and does nothing else. It is killed, never
// asked, so it needs no signals.
fn main() {
    loop {
        std::thread::park();
    }
}
