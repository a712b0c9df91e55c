/* The rival of benchmarks/handshakes.py: one TLS handshake after another by the system's OpenSSL, and nothing else.
 *
 *   handshake_loop CA_FILE SERVER_NAME PORT GROUPS < addresses, one a line
 *
 * Each is connected to, shaken hands with as fleetprobe does (security level 0, TLS 1.0 upwards, status request, no
 * tickets, no session cache, verification by the same CA file that notes its errors and goes on), its chain is taken
 * as DER, and the connection is cut. GROUPS as of SSL_CTX_set1_groups_list(3), `-` for the library's own list.
 * Prints one JSON object. Exits 1 when a single one failed, as a time would mean nothing then. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned long verify_errors;

static int noted(int ok, X509_STORE_CTX *context)
{
    (void)context;
    verify_errors += !ok;
    return 1;
}

static void give_up(const char *what)
{
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static SSL_CTX *offer(const char *ca_file, const char *groups)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL || !SSL_CTX_set_cipher_list(context, "DEFAULT:@SECLEVEL=0"))
        give_up("context");
    SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_LEGACY_SERVER_CONNECT);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, noted);
    if (!SSL_CTX_load_verify_file(context, ca_file))
        give_up(ca_file);
    if (strcmp(groups, "-") != 0 && !SSL_CTX_set1_groups_list(context, groups))
        give_up(groups);
    return context;
}

static int connected(const char *address, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1 || connect(fd, (void *)&to, sizeof to) != 0)
        give_up(address);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* The bytes of the chain as presented, each certificate copied out as a client that keeps it must do. */
static long chain_bytes(SSL *tls)
{
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(tls);
    long bytes = 0;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        unsigned char *der = NULL;
        int length = i2d_X509(sk_X509_value(chain, i), &der);
        if (length <= 0)
            give_up("certificate");
        bytes += length;
        OPENSSL_free(der);
    }
    return bytes;
}

int main(int count, char **words)
{
    if (count != 5)
        return 2;
    SSL_CTX *context = offer(words[1], words[4]);
    struct linger cut = {.l_onoff = 1, .l_linger = 0};
    char address[64], version[32] = "", cipher[64] = "";
    unsigned long done = 0, presented = 0;
    int group = 0;
    while (fgets(address, sizeof address, stdin) != NULL) {
        address[strcspn(address, "\n")] = '\0';
        int fd = connected(address, atoi(words[3]));
        SSL *tls = SSL_new(context);
        if (tls == NULL || !SSL_set_fd(tls, fd) || !SSL_set_tlsext_host_name(tls, words[2]))
            give_up("connection");
        SSL_set_tlsext_status_type(tls, TLSEXT_STATUSTYPE_ocsp);
        if (SSL_connect(tls) != 1)
            give_up(address);
        presented += (unsigned long)chain_bytes(tls);
        snprintf(version, sizeof version, "%s", SSL_get_version(tls));
        snprintf(cipher, sizeof cipher, "%s", SSL_get_cipher_name(tls));
        group = (int)SSL_get_negotiated_group(tls);
        SSL_free(tls);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &cut, sizeof cut);
        close(fd);
        done++;
    }
    printf("{\"library\": \"%s\", \"done\": %lu, \"verify_errors\": %lu, \"chain_bytes\": %lu, \"version\": \"%s\", "
           "\"cipher\": \"%s\", \"group\": \"%s\"}\n",
           OpenSSL_version(OPENSSL_VERSION), done, verify_errors, done ? presented / done : 0, version, cipher,
           group ? OBJ_nid2sn(group) : "none");
    SSL_CTX_free(context);
    return 0;
}
