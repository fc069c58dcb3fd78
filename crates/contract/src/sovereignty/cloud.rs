//! The names of commercial clouds.

/// Suffixes of the host names under which commercial clouds and storage sellers offer object stores.
///
/// A data embassy stands on the state's own ground and machines. No resource can switch this list off.
pub const COMMERCIAL_CLOUDS: &[&str] = &[
    "akamaihd.net",
    "akamaized.net",
    "aliyuncs.com",
    "amazonaws-us-gov.com",
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "api.aws",
    "appdomain.cloud",
    "arubacloud.com",
    "azure.cn",
    "azure.com",
    "azure.net",
    "azure.us",
    "azureedge.net",
    "azurefd.net",
    "azurewebsites.net",
    "backblaze.com",
    "backblazeb2.com",
    "bcebos.com",
    "box.com",
    "chinacloudapi.cn",
    "cloudflare.com",
    "cloudflarestorage.com",
    "cloudfront.net",
    "contabostorage.com",
    "customer-oci.com",
    "digitaloceanspaces.com",
    "dream.io",
    "dropboxapi.com",
    "exo.io",
    "exoscale.com",
    "filebase.com",
    "filebase.io",
    "googleapis.com",
    "gra.cloud.ovh.net",
    "idrivee2.com",
    "impossibleapi.net",
    "impossiblecloud.com",
    "ionoscloud.com",
    "jdcloud-oss.com",
    "ksyuncs.com",
    "leviia.com",
    "linodeobjects.com",
    "myhuaweicloud.com",
    "myhuaweicloud.eu",
    "myqcloud.com",
    "ncloudstorage.com",
    "on.aws",
    "oraclecloud.com",
    "oraclecloud.eu",
    "ovh.net",
    "ovh.us",
    "profitbricks.com",
    "qiniucs.com",
    "r2.dev",
    "s3.eu",
    "scw.cloud",
    "selcdn.ru",
    "selstorage.ru",
    "seeweb.it",
    "softlayer.net",
    "stackpathstorage.com",
    "storage.cloud.google.com",
    "storage.yandexcloud.net",
    "storjshare.io",
    "supabase.co",
    "tencentcos.cn",
    "tigris.dev",
    "tigrisfiles.io",
    "tos-cn.com",
    "upcloudobjects.com",
    "usgovcloudapi.net",
    "volces.com",
    "vkcloud-storage.ru",
    "vultrobjects.com",
    "wasabisys.com",
    "windows.net",
    "yandexcloud.net",
    "your-objectstorage.com",
    "zata.ai",
];

/// The suffix by which a name belongs to a commercial cloud.
pub(super) fn of(name: &str) -> Option<&'static str> {
    COMMERCIAL_CLOUDS
        .iter()
        .copied()
        .find(|suffix| is_below(name, suffix))
}

/// Whether `name` is `suffix` or a name below it; `notamazonaws.com` is neither.
pub(super) fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
